"""Storage: files, folders and other processes."""
