"""Who: accounts, the people at them and around them, what they hold, and what is known of them when."""
