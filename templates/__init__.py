"""Pages and mails, under ``csplaybooks/``. No code: a package only for the sake of the build."""
