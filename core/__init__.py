"""The ground floor: what every room of Sumu stands on and nothing of ours stands under."""
