"""Structure folders, datasets, settings: everything that is read from disk and written to it."""
