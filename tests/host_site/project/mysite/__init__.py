"""A site that was there before the plugin."""
