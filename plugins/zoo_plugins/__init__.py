"""zoo's own data sets, models and metrics; the core knows them only through registry.toml."""
