// Saves pictures as files, for papers and lab reports: drawings as SVG and as PNG, canvases as PNG.

/** Pixels of a PNG for each unit of a drawing. */
const SHARPNESS = 3;

function download(name, url) {
  const link = document.createElement('a');
  link.download = name;
  link.href = url;
  link.click();
}

/** A drawing of the page as a file that needs no page: in the colours of paper, whatever the page's are. */
function asSvg(svg) {
  const copy = svg.cloneNode(true);
  const { width, height } = svg.viewBox.baseVal;
  copy.setAttribute('xmlns', svg.namespaceURI);
  copy.setAttribute('width', width);
  copy.setAttribute('height', height);
  const style = document.createElementNS(svg.namespaceURI, 'style');
  style.textContent = meta.pictureStyle;
  copy.prepend(style);
  return 'data:image/svg+xml;charset=utf-8,' + encodeURIComponent(new XMLSerializer().serializeToString(copy));
}

/** What `draw` paints on a sheet `width` by `height` pixels. */
function onPaper(width, height, paper, draw) {
  const sheet = document.createElement('canvas');
  sheet.width = width;
  sheet.height = height;
  const context = sheet.getContext('2d');
  context.fillStyle = paper;
  context.fillRect(0, 0, width, height);
  draw(context);
  return sheet.toDataURL('image/png');
}

async function asPng(picture) {
  if (picture instanceof HTMLCanvasElement) {
    return onPaper(picture.width, picture.height, colours.paper, (context) => context.drawImage(picture, 0, 0));
  }
  const image = new Image();
  image.src = asSvg(picture);
  await image.decode();
  const { width, height } = picture.viewBox.baseVal;
  const [across, down] = [Math.round(width * SHARPNESS), Math.round(height * SHARPNESS)];
  return onPaper(across, down, '#fff', (context) => context.drawImage(image, 0, 0, across, down));
}

/** Letters, digits and hyphens. */
function plain(text) {
  return text.trim().toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '').slice(0, 60) || 'picture';
}

/** Buttons after each picture of the page. */
function addSaving() {
  const pictures = [...document.querySelectorAll('svg.diagram')].filter((svg) => !svg.closest('#still'));
  for (const canvas of ['timeline', 'latency', 'rate']) pictures.push(document.getElementById(canvas));
  pictures.forEach((picture, at) => {
    const about = picture.closest('details.violation')?.querySelector('summary')?.textContent ?? picture.id;
    const name = plain(`${meta.name}-${about || 'picture'}-${at + 1}`);
    const tools = document.createElement('p');
    tools.className = 'tools save';
    const button = (kind, make) => {
      const element = document.createElement('button');
      element.type = 'button';
      element.textContent = kind.toUpperCase();
      element.title = `Save this picture as ${kind.toUpperCase()}`;
      element.addEventListener('click', async () => download(`${name}.${kind}`, await make(picture)));
      tools.append(element);
    };
    button('png', asPng);
    if (picture instanceof SVGElement) button('svg', asSvg);
    (picture.closest('figure, .stack') ?? picture).after(tools);
  });
}
