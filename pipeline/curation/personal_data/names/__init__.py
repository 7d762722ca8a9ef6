"""Names of people, found by a small linear tagger that was taught here: no package, no download."""
