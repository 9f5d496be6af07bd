"""The observer as the controller runs it, and two calls about it (compat/controller.md).

The observer is a process of its own (docs/observer.md): it registers the machine, sends signs of
life, and content once its owner agreed. Nothing of it is imported here.
"""
