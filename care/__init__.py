"""Who lies where, who is on duty: decided purely, kept in SQL, published for intake."""
