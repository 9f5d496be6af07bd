// The inbox: the dialog of "approve and remember", and rows whose decision is on its way.
function ask(button) {
  const dialog = document.getElementById("remember");
  for (const place of dialog.querySelectorAll("[data-fill]")) place.textContent = button.dataset[place.dataset.fill];
  const form = dialog.querySelector("form");
  form.dataset.api = `POST ${button.dataset.url}`;
  form.dataset.body = button.dataset.body;
  form.dataset.row = button.closest("[data-row]").id;
  form.dataset.done = `Approved ${button.dataset.who}, and remembered`;
  form.querySelector(".form-error").hidden = true;
  dialog.showModal();
}

// The row says at once what was decided; the stream takes it away when the plane has committed it.
export function decided(id, words) {
  const row = document.getElementById(id);
  if (!row) return;
  row.dataset.decided = "";
  const said = Object.assign(document.createElement("span"), { className: "ask-said", textContent: words });
  row.querySelector(".ask-orders").replaceChildren(said);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-remember]");
  if (button) ask(button);
});
