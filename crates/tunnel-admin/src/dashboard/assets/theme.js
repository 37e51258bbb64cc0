// Light or dark, before anything is painted: what was chosen here, else what the system wants.
const kept = localStorage.getItem('tunnel-theme');
if (kept === 'light' || kept === 'dark') document.documentElement.dataset.theme = kept;
