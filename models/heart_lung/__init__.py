"""The heart and lung network: lungs and heart outlined on frontal chests, for the cardiothoracic ratio."""
