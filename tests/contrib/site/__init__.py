"""A Django site with a few tasks."""
