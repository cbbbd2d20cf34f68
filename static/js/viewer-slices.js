// The slices of one series, fetched as numbers and kept in the memory of this page alone: the
// server forbids every other cache, and these end with the page.

const MOST_BYTES = 96 * 1024 * 1024;
const MOST_AT_ONCE = 4;
const AHEAD = 8;
const BEHIND = 3;

export class SessionEnded extends Error {}

// Resolves to an answer with pixels, or throws. A redirect leads to the sign-in page.
export async function fetchPixels(address, signal) {
  const response = await fetch(address, { signal, cache: "no-store", credentials: "same-origin" });
  if (response.redirected) {
    throw new SessionEnded("The session has ended.");
  }
  if (!response.ok) {
    throw new Error(`${response.status}`);
  }
  return response;
}

export function createSlices({ url, series, isHu, planes, onArrival, onProblem }) {
  // A Map keeps the order of insertion: the first key is the one that was used longest ago.
  const kept = new Map();
  const running = new Map();
  let bytes = 0;
  let wanted = [];

  const keyOf = (plane, index) => `${plane}/${index}`;

  const keep = (key, pixels) => {
    kept.set(key, pixels);
    bytes += pixels.byteLength;
    for (const [oldest, old] of kept) {
      if (bytes <= MOST_BYTES || oldest === key) {
        break;
      }
      kept.delete(oldest);
      bytes -= old.byteLength;
    }
  };

  const load = async (key, plane, index) => {
    const abort = new AbortController();
    running.set(key, abort);
    try {
      const query = new URLSearchParams({ series, plane: planes[plane].name, slice: index });
      const response = await fetchPixels(`${url}?${query}`, abort.signal);
      const content = await response.arrayBuffer();
      const [, rows, columns] = planes[plane].size;
      if (content.byteLength !== rows * columns * (isHu ? 2 : 1)) {
        throw new Error("The slice has another size than announced.");
      }
      keep(key, isHu ? new Int16Array(content) : new Uint8Array(content));
      running.delete(key);
      onArrival(plane, index);
    } catch (error) {
      running.delete(key);
      if (error.name === "AbortError") {
        return;
      }
      wanted = wanted.filter((each) => each.key !== key);
      onProblem(error, plane, index);
    }
    start();
  };

  const start = () => {
    for (const { key, plane, index } of wanted) {
      if (running.size >= MOST_AT_ONCE) {
        return;
      }
      if (!kept.has(key) && !running.has(key)) {
        load(key, plane, index);
      }
    }
  };

  return {
    get(plane, index) {
      const key = keyOf(plane, index);
      const pixels = kept.get(key);
      if (pixels) {
        kept.delete(key);
        kept.set(key, pixels);
      }
      return pixels;
    },

    // `shown` lists what is on the screen as [plane, index]; the first moves in `direction`. Those
    // are fetched first, then its neighbours. Requests that are no longer wanted are given up.
    want(shown, direction) {
      const list = shown.map(([plane, index]) => [plane, index]);
      const [plane, index] = shown[0];
      for (let step = 1; step <= AHEAD; step += 1) {
        list.push([plane, index + step * direction]);
        if (step <= BEHIND) {
          list.push([plane, index - step * direction]);
        }
      }
      wanted = list
        .filter(([each, at]) => at >= 0 && at < planes[each].size[0])
        .map(([each, at]) => ({ key: keyOf(each, at), plane: each, index: at }));
      const keys = new Set(wanted.map((each) => each.key));
      for (const [key, abort] of running) {
        if (!keys.has(key)) {
          running.delete(key);
          abort.abort();
        }
      }
      start();
    },

    clear() {
      wanted = [];
      for (const abort of running.values()) {
        abort.abort();
      }
      running.clear();
      kept.clear();
      bytes = 0;
    },
  };
}

// The stone map over a cut, as a picture. Only the newest wish of each plane is fetched.
export function createMaps({ url, series, planes, onArrival }) {
  const MOST = 48;
  const kept = new Map();
  const running = new Map();
  const next = new Map();

  const load = async (plane, index) => {
    running.set(plane, index);
    try {
      const query = new URLSearchParams({ series, plane: planes[plane].name, slice: index });
      const response = await fetchPixels(`${url}?${query}`);
      kept.set(`${plane}/${index}`, await createImageBitmap(await response.blob()));
      if (kept.size > MOST) {
        const [oldest, picture] = kept.entries().next().value;
        kept.delete(oldest);
        picture.close();
      }
      onArrival(plane, index);
    } catch {
      // The slice is shown all the same, without a map over it.
    }
    running.delete(plane);
    const wish = next.get(plane);
    next.delete(plane);
    if (wish !== undefined && wish !== index) {
      load(plane, wish);
    }
  };

  return {
    get(plane, index) {
      const picture = kept.get(`${plane}/${index}`);
      if (!picture && url) {
        if (running.has(plane)) {
          next.set(plane, index);
        } else {
          load(plane, index);
        }
      }
      return picture;
    },

    clear() {
      next.clear();
      kept.clear();
    },
  };
}
