"""Mail that leaves the house, and what members of the team are told."""
