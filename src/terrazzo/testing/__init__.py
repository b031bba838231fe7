"""What tests of Terrazzo and of extensions to it share: synthetic sources, random graphs."""
