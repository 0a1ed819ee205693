"""FedNPG and its kin on finite problems."""
