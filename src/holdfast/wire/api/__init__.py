"""The HTTP API for people, programs and existing clients: one file a noun.

A file holds a noun's messages and its endpoint rows together; `table.py` joins the rows. A row
says name, method, path, request, response, scope, gate and since. Dispatch, checks, OpenAPI, the
typed client and the tests that walk every route come from it. It holds no handlers:
`plane.wiring` binds exactly one to each row.
"""
