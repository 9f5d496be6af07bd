"""The HTTP routes of the controller, one file a noun; `app.py` makes the application of them."""
