import {fill, poll} from "/static/page.js";

poll("/overview.json", 2, ({values, charts}) => {
  fill(values);
  for (const [key, {line, area}] of Object.entries(charts)) {
    const figure = document.querySelector(`[data-chart="${key}"]`);
    figure.querySelector("polyline").setAttribute("points", line);
    figure.querySelector("polygon").setAttribute("points", area);
  }
});
