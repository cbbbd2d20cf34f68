"""Hounsfield units of the drawn tissues, as in a scan without contrast medium."""

AIR, FAT, MUSCLE, LIVER, SPLEEN, KIDNEY, BLOOD, BOWEL = -1000, -105, 55, 60, 48, 32, 42, 25
GAS, CORTEX, MARROW, FLUID, FOAM, SHELL = -850, 650, 220, 8, -950, -150
