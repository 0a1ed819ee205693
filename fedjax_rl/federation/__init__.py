"""Federation: rounds, merges and participation."""

from fedjax_rl.federation import aggregate as aggregate  # registers the merges
