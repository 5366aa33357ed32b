// Runs before the first paint: the chosen theme, then the app. A file of its own, since the page allows no inline script.
try {
  const theme = localStorage.getItem('rateguard.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {}
import('/assets/app-25ecf6fdea6866e5.js')
  .then((app) => app.default({ module_or_path: '/assets/app-5d627133ab40fe1c.wasm' }))
  .catch((error) => {
    console.error(error);
    const text = document.getElementById('boot-text');
    if (text) text.textContent = 'The console could not start. It needs a browser with WebAssembly; reload to try again.';
  });
