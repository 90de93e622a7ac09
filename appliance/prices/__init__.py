"""What models cost by their vendors' price lists: a table that comes with the program, and needs no network."""
