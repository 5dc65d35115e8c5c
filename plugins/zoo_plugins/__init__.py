"""zoo's own data sets, models and metrics; zoo knows them only from registry.toml."""
