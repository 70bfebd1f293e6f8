"""The plugin in somebody else's site: a release, installed apart, in a host project that differs wherever it can."""
