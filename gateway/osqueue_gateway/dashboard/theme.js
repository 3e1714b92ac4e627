// Before anything is painted: the theme this browser was last set to. No module, since modules run too late.
{
  let theme = null;
  try {
    theme = localStorage.getItem("osqueue.theme");
  } catch {
    // Storage is switched off: follow the system.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
