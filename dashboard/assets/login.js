/* The language switch of the sign-in. */
"use strict";
document.querySelector(".language").addEventListener("click", (event) => {
  document.cookie = `vigil_language=${event.target.dataset.to};path=/;max-age=31536000;samesite=strict`;
  location.reload();
});
