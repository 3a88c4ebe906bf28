"""What is in a page."""

from html.parser import HTMLParser

VOID = {"meta", "input", "img", "br", "path", "use", "hr", "wbr"}


class Reader(HTMLParser):
    """Sections with their tiles, headings, what is asked for, images without words.

    It fails where tags do not match.
    """

    def __init__(self, text):
        super().__init__()
        self.sections, self.headings, self.asked, self.wordless = {}, [], [], 0
        self.ids, self.tags, self.open, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        if tag == "section":
            self.sections[values["id"]] = 0
        if values.get("class") == "tile":
            self.sections[list(self.sections)[-1]] += 1
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.wordless += not values.get("alt")
        wanted = ("src", "href", "xlink:href", "data", "srcset", "poster", "action")
        self.asked += [values[name] for name in wanted if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data
