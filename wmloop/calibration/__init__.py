"""M's word and C's score, held against reality."""
