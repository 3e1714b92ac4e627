"""Generated from proto/ and interop/ by `make stubs`; never edited by hand."""
