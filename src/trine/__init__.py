"""trine: metric learning with the triplet loss."""
