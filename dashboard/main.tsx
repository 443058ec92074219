import { render } from "preact";
import { App } from "./app.tsx";
import "uplot/dist/uPlot.min.css";
import "./style/page.css";
import "./style/diagram.css";
import "./style/experts.css";
import "./style/chat.css";

render(<App />, document.getElementById("page") as HTMLElement);
