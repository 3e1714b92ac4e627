// The texts in sight with less contrast to what is behind them than 4.5 : 1, the bar of WCAG's level AA.
() => {
  const lamp = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    lamp.clearRect(0, 0, 1, 1);
    lamp.fillStyle = color;
    lamp.fillRect(0, 0, 1, 1);
    return [...lamp.getImageData(0, 0, 1, 1).data];
  };
  const linear = (channel) => (channel <= 10 ? channel / 255 / 12.92 : ((channel / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  const ground = (element) => {
    for (let around = element; around; around = around.parentElement) {
      const color = rgba(getComputedStyle(around).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255];
  };
  const pale = [];
  const texts = document.createTreeWalker(document.getElementById("app"), NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const element = text.parentElement;
    if (!text.data.trim() || !element.checkVisibility() || element.closest(":disabled")) continue;
    const style = getComputedStyle(element);
    const front = light(rgba(element instanceof SVGElement ? style.fill : style.color));
    const back = light(ground(element));
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    if (ratio < 4.5) pale.push(`${ratio.toFixed(2)}: ${text.data.trim().slice(0, 40)}`);
  }
  return pale;
}
