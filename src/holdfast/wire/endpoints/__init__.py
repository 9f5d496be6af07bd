"""The endpoint table: one file per client family, one row per endpoint.

A row says name, method, path, request, response, scope, gate and since. Dispatch,
checks, OpenAPI, the typed client and the tests that walk every route come from it.
It holds no handlers: plane.build binds exactly one to each row.
"""
