// What every page needs: the theme switch, and care around partial updates.

for (const button of document.querySelectorAll("[data-theme-switch]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.bsTheme = root.dataset.bsTheme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.bsTheme);
    } catch {
      // Storage may be forbidden; the choice then lasts until the page is left.
    }
  });
}

// A partial that was answered by another page (the sign-in page, after the session ended)
// must not land in the middle of this one.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, pathInfo } = event.detail;
  if (!xhr.responseURL || !pathInfo) {
    return;
  }
  const asked = new URL(pathInfo.requestPath, location.href).pathname;
  if (new URL(xhr.responseURL).pathname !== asked) {
    event.detail.shouldSwap = false;
    location.reload();
  }
});

// Say a finished result aloud once, instead of making a whole page region live.
document.addEventListener("htmx:load", (event) => {
  const news = event.detail.elt.querySelector?.("[data-announce]");
  const announcer = document.getElementById("announcer");
  if (news && announcer && event.detail.elt !== document.body) {
    announcer.textContent = news.dataset.announce;
  }
});

// A log that is fetched again stays at its end.
document.addEventListener("htmx:load", () => {
  for (const log of document.querySelectorAll("[data-follow]")) {
    log.scrollTop = log.scrollHeight;
  }
});
