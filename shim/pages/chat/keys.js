// What the browser does by itself: keys, copying of code, links, and staying at the end of a reply.
(() => {
  const click = (key) => {
    const all = [...document.querySelectorAll(`[data-key="${key}"]`)].filter((e) => e.offsetParent);
    if (all.length) all[all.length - 1].click();
    return all.length > 0;
  };
  const field = () => document.querySelector('.message-field textarea, .code-field .cm-content');

  document.addEventListener('keydown', (event) => {
    if (document.querySelector('.q-dialog')) return;
    const isWriting = event.target.matches?.('input, textarea, [contenteditable="true"]');
    if (event.key === 'Escape') {
      click('stop');
    } else if (event.altKey && event.code === 'KeyN') {
      click('new');
      event.preventDefault();
    } else if (event.altKey && event.code === 'KeyR') {
      click('regenerate');
      event.preventDefault();
    } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      click('send');
    } else if (event.key === '/' && !isWriting) {
      field()?.focus();
      event.preventDefault();
    } else if (event.key === 'ArrowUp' && event.target === field() && event.target.value === '') {
      if (click('edit')) event.preventDefault();
    }
  });

  document.addEventListener('click', async (event) => {
    const button = event.target.closest?.('.copy-code');
    if (button) {
      const text = button.closest('.code-block').querySelector('pre').innerText;
      await copy(text);
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = 'Copy'; }, 1200);
    }
    const link = event.target.closest?.('.reply-body a');
    if (link) {
      event.preventDefault();
      window.open(link.href, '_blank', 'noopener,noreferrer');
    }
  });

  const copy = async (text) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = Object.assign(document.createElement('textarea'), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  };

  let isAtEnd = true;
  const distance = () => document.documentElement.scrollHeight - innerHeight - scrollY;
  addEventListener('scroll', () => { isAtEnd = distance() < 80; }, { passive: true });
  new MutationObserver(() => {
    if (isAtEnd && document.querySelector('.message')) scrollTo(0, document.documentElement.scrollHeight);
  }).observe(document, { childList: true, subtree: true, characterData: true });
})();
