// The page of the rules: show those in which a word occurs, and open the group of the one linked to.
addEventListener("DOMContentLoaded", () => {
  const field = document.getElementById("find-rule");
  const groups = document.querySelectorAll("details.rules");
  field?.addEventListener("input", () => {
    const word = field.value.trim().toLowerCase();
    for (const group of groups) {
      let found = 0;
      for (const rule of group.querySelectorAll(".rule")) {
        rule.hidden = !rule.textContent.toLowerCase().includes(word);
        found += !rule.hidden;
      }
      group.hidden = !found;
      group.open = Boolean(word && found);
    }
  });
  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const group = target && target.closest("details.rules");
    if (group) {
      group.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  open();
});
