// The keys of the viewer. A single letter that acts anywhere on a page is pressed by accident and by
// speech input (WCAG 2.1.4): these act only while the viewer has the focus, and never in a field.

const FIELDS = "input:not([type=range]), select, textarea, [contenteditable]";
// This is set when a key leads to another study: its viewer takes the focus.
const GOES_ON = "viewer.focus";

const keyOf = (event) => (event.key === "=" ? "+" : event.key.toLowerCase());

function targetOf(key) {
  return [...document.querySelectorAll("[data-key]")].find(
    (element) => element.dataset.key === key && !element.hidden && !element.closest("[inert]"),
  );
}

function goOnThere() {
  try {
    sessionStorage.setItem(GOES_ON, "yes");
  } catch {
    // Storage may be forbidden; the next viewer then waits for a click.
  }
}

function isGoingOn() {
  try {
    const isSet = sessionStorage.getItem(GOES_ON) !== null;
    sessionStorage.removeItem(GOES_ON);
    return isSet;
  } catch {
    return false;
  }
}

// `onPlainKey` takes the keys that no button has, and says whether it had a use for one.
export function listenToKeys(root, { stage, onPlainKey }) {
  const dialog = root.querySelector("[data-keys]");
  root.querySelector("[data-keys-open]").addEventListener("click", () => dialog.showModal());
  root.querySelector("[data-keys-close]").addEventListener("click", () => dialog.close());

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) {
      return;
    }
    if (dialog.open || event.target.closest(FIELDS)) {
      return;
    }
    if (onPlainKey(event)) {
      event.preventDefault();
      return;
    }
    const target = targetOf(keyOf(event));
    if (!target) {
      return;
    }
    event.preventDefault();
    if (target.matches("a[href]")) {
      goOnThere();
    }
    target.click();
  });

  if (isGoingOn()) {
    stage.focus({ preventScroll: true });
  }
}
