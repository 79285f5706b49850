/* The service worker: installing needs one. It keeps one page, which says that nothing arrives; a
   stored screen of numbers would be a lie. */
"use strict";
const KEPT = "vigil-offline-1", PAGE = "/offline";
self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(KEPT).then((cache) => cache.addAll([PAGE, "/assets/style.css"])));
  self.skipWaiting();
});
self.addEventListener("activate", (event) => { event.waitUntil(self.clients.claim()); });
self.addEventListener("fetch", (event) => {
  if (event.request.mode === "navigate") event.respondWith(fetch(event.request).catch(() => caches.match(PAGE)));
});
