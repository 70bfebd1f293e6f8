"""What can be done with playbooks and plays: one function for each act, with its transaction and timeline entry."""
