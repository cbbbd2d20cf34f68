// Runs before the first paint, so that a dark room never sees a white flash.
(() => {
  document.documentElement.classList.add("has-script");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem("theme");
    } catch {
      // Storage may be forbidden; the system's choice then stands.
    }
    document.documentElement.dataset.bsTheme =
      chosen === "light" || chosen === "dark" ? chosen : system.matches ? "dark" : "light";
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply);
})();
