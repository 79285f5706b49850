"""Rule packs that ship with Vigil."""
