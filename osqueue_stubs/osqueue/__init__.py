"""Generated from proto/osqueue/v1 by `make stubs`; never edited by hand."""
