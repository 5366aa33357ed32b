// Runs before the first paint: the chosen theme, then the app. A file of its own, since the page allows no inline script.
try {
  const theme = localStorage.getItem('rateguard.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {}
// Asked for here while the script comes, not by a preload of the page: Chromium 156 loads that twice now and then, and on a
// busy machine has been seen never to hand it over.
const program = fetch('{{wasm}}');
import('{{script}}')
  .then((app) => app.default({ module_or_path: program }))
  .catch((error) => {
    console.error(error);
    const text = document.getElementById('boot-text');
    if (text) text.textContent = 'The console could not start. It needs a browser with WebAssembly; reload to try again.';
  });
