// Applies the remembered theme before the first paint; everything else about it is in app.js.
(() => {
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch { /* storage may be closed; then the system's theme stands */ }
})();
