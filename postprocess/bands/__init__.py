"""Band structures along paths, and what is read off them."""
