"""Records: what zoo writes down, and how it is found again."""
