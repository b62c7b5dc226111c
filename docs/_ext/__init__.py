"""What the manual draws and tabulates itself, from the code, the specification and the tests."""
