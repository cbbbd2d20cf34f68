// From Hounsfield units, or 8-bit grey, to what the screen shows: a table of all values, so that a
// slice is one look-up a pixel and a new window needs no new request.

export function createGreyTable(isHu) {
  const table = new Uint32Array(isHu ? 65536 : 256);
  return {
    // The function of DICOM PS3.3, C.11.2.1.3.2 (LINEAR_EXACT), as on the server.
    fill({ center, width, isInverted }) {
      const lower = center - width / 2;
      for (let i = 0; i < table.length; i += 1) {
        const value = isHu && i > 32767 ? i - 65536 : i;
        let grey = Math.round(Math.min(255, Math.max(0, ((value - lower) / width) * 255)));
        if (isInverted) {
          grey = 255 - grey;
        }
        // The bytes of a pixel are red, green, blue and opacity.
        table[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
      }
    },

    paint(pixels, target) {
      // Signed numbers are looked up by their bits.
      const values = isHu ? new Uint16Array(pixels.buffer) : pixels;
      for (let i = 0; i < values.length; i += 1) {
        target[i] = table[values[i]];
      }
    },
  };
}
