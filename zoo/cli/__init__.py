"""The command line: it parses, prints and maps errors to exit codes."""
